// CoreDNS with the plugins that the lab needs.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/timeouts"
	_ "github.com/coredns/coredns/plugin/tls"
)

func init() {
	dnsserver.Directives = []string{"timeouts", "tls", "bind", "hosts"}
}

func main() {
	coremain.Run()
}
