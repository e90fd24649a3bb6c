// bun server.js HOST PORT CERT KEY IDLE
const [hostname, port, cert, key, idle] = process.argv.slice(2);
const large = "x".repeat(1 << 20);

Bun.serve({
  hostname,
  port: Number(port),
  tls: { cert: Bun.file(cert), key: Bun.file(key) },
  idleTimeout: Number(idle),
  fetch: (request) =>
    new Response(new URL(request.url).pathname === "/large" ? large : "hello from Bun\n"),
});
