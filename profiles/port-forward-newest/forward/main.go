// The user's half of kubectl port-forward: client-go's forwarder, as kubectl calls it, in the
// version that the go.mod in use names.
//
// It starts the node's half itself and ends with it. When the tunnel is lost, kubectl ends; this
// program then waits a moment in which nothing listens, and begins anew, like the loop around
// kubectl that its users write.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

var (
	listen  = flag.String("listen", "", "HOST:PORT that is forwarded")
	node    = flag.String("node", "", "HOST:PORT for the streaming server")
	server  = flag.String("streaming", "", "the streaming server's program")
	backend = flag.String("backend", "", "HOST:PORT of the server in the pod")
	pause   = flag.Duration("pause", time.Second, "how long nothing listens after the tunnel was lost")
	version = flag.Bool("version", false, "print the version of client-go")
)

func main() {
	flag.Parse()
	if *version {
		fmt.Println(clientGo())
		return
	}
	runtime.LockOSThread() // the parent-death signal counts threads as parents
	child := startNode()
	go func() {
		log.Fatalf("the streaming server ended: %v", child.Wait())
	}()
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-asked
		_ = child.Process.Kill()
		os.Exit(0)
	}()
	for {
		err := forward()
		log.Printf("forwarding ended: %v", err)
		time.Sleep(*pause)
	}
}

func clientGo() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "k8s.io/client-go" {
			return module.Version
		}
	}
	return "unknown"
}

func startNode() *exec.Cmd {
	child := exec.Command(*server, "-listen", *node, "-backend", *backend)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		log.Fatal(err)
	}
	return child
}

// forward serves one tunnel until it is lost, as one kubectl does.
func forward() error {
	where, err := streamURL()
	if err != nil {
		return err
	}
	transport, upgrader, err := spdy.RoundTripperFor(&rest.Config{})
	if err != nil {
		return err
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, where)
	host, port, err := net.SplitHostPort(*listen)
	if err != nil {
		return err
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	ports := []string{port + ":1"} // the runtime has one backend: the pod's port means nothing
	forwarder, err := portforward.NewOnAddresses(
		dialer, []string{host}, ports, stop, ready, os.Stdout, os.Stderr)
	if err != nil {
		return err
	}
	if err := forwarder.ForwardPorts(); err != nil {
		return err
	}
	return errors.New("lost connection to pod") // kubectl's words for it; old versions return nil
}

// streamURL asks the node for a URL to stream over, until the node has started.
func streamURL() (*url.URL, error) {
	var failure error
	for range 100 {
		answer, err := http.Get("http://" + *node + "/url")
		if err != nil {
			failure = err
			time.Sleep(50 * time.Millisecond)
			continue
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return nil, err
		}
		return url.Parse(strings.TrimSpace(string(text)))
	}
	return nil, failure
}
