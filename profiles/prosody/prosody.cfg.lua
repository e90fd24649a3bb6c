pidfile = "@folder@/prosody.pid"
data_path = "@folder@/data"
run_as_root = true
interfaces = { "@host@" }
c2s_ports = { }
s2s_ports = { }
c2s_direct_tls_ports = { @port@ }
c2s_direct_tls_interfaces = { "@host@" }
c2s_timeout = @idle@
modules_enabled = { "saslauth", "tls", "ping" }
modules_disabled = { "s2s" }
authentication = "anonymous"
log = { { levels = { min = "warn" }, to = "console" } }
ssl = { certificate = "@cert@", key = "@key@" }
c2s_direct_tls_ssl = { certificate = "@cert@", key = "@key@" }
VirtualHost "localhost"
