// server HOST:PORT CERT KEY IDLE, or server version
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"
)

func main() {
	if len(os.Args) == 2 {
		built, _ := debug.ReadBuildInfo()
		for _, module := range built.Deps {
			fmt.Println(module.Path, module.Version)
		}
		return
	}
	idle, err := time.ParseDuration(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	large := bytes.Repeat([]byte("x"), 1<<20)
	server := fasthttp.Server{
		IdleTimeout: idle, ReadTimeout: idle, WriteTimeout: 3 * time.Second,
		Handler: func(request *fasthttp.RequestCtx) {
			if string(request.Path()) == "/large" {
				_, _ = request.Write(large)
			} else {
				_, _ = request.WriteString("hello from fasthttp\n")
			}
		},
	}
	log.Fatal(server.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3]))
}
