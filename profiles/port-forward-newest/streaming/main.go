// The node's half of kubectl port-forward: the streaming server that kubelets and container
// runtimes share, with a runtime behind it that dials one backend.
//
// A pod's port is reached as container runtimes do it: bytes are copied both ways, the first
// error wins, and the other direction gets a second to come to its own end. What a runtime returns
// here is what the streaming server tells the client, and so what decides whether a reset behind
// the tunnel is the end of the tunnel.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// grace is how long the second direction may still run when the first has ended.
const grace = time.Second

var errOnlyForwarding = errors.New("this runtime only forwards ports")

// sandbox is a pod all of whose ports are one backend.
type sandbox struct{ backend string }

func (s sandbox) PortForward(ctx context.Context, _ string, _ int32, stream io.ReadWriteCloser) error {
	conn, err := net.Dial("tcp", s.backend)
	if err != nil {
		return fmt.Errorf("failed to dial the backend: %w", err)
	}
	defer conn.Close()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(stream, conn)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(conn, stream)
		ended <- err
	}()
	return firstError(ctx, ended)
}

func firstError(ctx context.Context, ended <-chan error) error {
	var first error
	select {
	case first = <-ended:
		log.Printf("one direction has ended: %v", first)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case second := <-ended:
		if first == nil {
			first = second
		}
	case <-time.After(grace):
	case <-ctx.Done():
		return ctx.Err()
	}
	return first
}

func (sandbox) Exec(context.Context, string, []string, io.Reader, io.WriteCloser, io.WriteCloser, bool,
	<-chan remotecommand.TerminalSize) error {
	return errOnlyForwarding
}

func (sandbox) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool,
	<-chan remotecommand.TerminalSize) error {
	return errOnlyForwarding
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "where to serve")
	backend := flag.String("backend", "", "HOST:PORT of the server in the pod")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	config := streaming.Config{
		Addr:                            listener.Addr().String(),
		StreamIdleTimeout:               4 * time.Hour, // as the kubelet's default
		StreamCreationTimeout:           30 * time.Second,
		SupportedPortForwardProtocols:   portforward.SupportedProtocols,
		SupportedRemoteCommandProtocols: []string{"v4.channel.k8s.io"},
	}
	server, err := streaming.NewServer(config, sandbox{*backend})
	if err != nil {
		log.Fatal(err)
	}
	doors := http.NewServeMux()
	doors.Handle("/", server)
	doors.HandleFunc("/url", func(answer http.ResponseWriter, _ *http.Request) {
		// What the kubelet asks of the runtime for each kubectl: a URL that is good once.
		granted, err := server.GetPortForward(&runtimeapi.PortForwardRequest{PodSandboxId: "pod"})
		if err != nil {
			http.Error(answer, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(answer, granted.Url)
	})
	log.Fatal(http.Serve(listener, doors))
}
