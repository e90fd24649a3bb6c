// server HOST:PORT CERT KEY IDLE, or server version
package main

import (
	"bytes"
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime"
	"time"
)

func main() {
	if len(os.Args) == 2 {
		fmt.Println(runtime.Version())
		return
	}
	idle, err := time.ParseDuration(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	large := bytes.Repeat([]byte("x"), 1<<20)
	http.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(large)
	})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello from Go")
	})
	server := http.Server{
		Addr: os.Args[1], IdleTimeout: idle, ReadHeaderTimeout: idle, ReadTimeout: idle, WriteTimeout: 3 * time.Second,
	}
	log.Fatal(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
}
