# ruby server.rb HOST PORT CERT KEY IDLE
require "webrick"
require "webrick/https"

host, port, cert, key, idle = ARGV
large = "x" * (1 << 20)
server = WEBrick::HTTPServer.new(
  BindAddress: host,
  Port: port.to_i,
  SSLEnable: true,
  SSLCertificate: OpenSSL::X509::Certificate.new(File.read(cert)),
  SSLPrivateKey: OpenSSL::PKey.read(File.read(key)),
  RequestTimeout: idle.to_i,
  MaxClients: 200,
  Logger: WEBrick::Log.new($stderr, WEBrick::Log::WARN),
  AccessLog: []
)
server.mount_proc("/") { |_, response| response.body = "hello from WEBrick\n" }
server.mount_proc("/large") { |_, response| response.body = large }
trap("TERM") { server.shutdown }
server.start
