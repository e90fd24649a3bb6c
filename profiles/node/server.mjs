// node server.mjs http1|http2 HOST PORT CERT KEY IDLE_MS
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createSecureServer } from "node:http2";

const [protocol, host, port, cert, key, idle] = process.argv.slice(2);
const small = "hello from Node.js\n";
const large = Buffer.alloc(1024 * 1024, "x");

function answer(request, response) {
  const body = request.url === "/large" ? large : small;
  response.writeHead(200, { "content-type": "text/plain", "content-length": body.length });
  response.end(body);
}

const tls = {
  cert: readFileSync(cert),
  key: readFileSync(key),
  minVersion: "TLSv1.2",
  handshakeTimeout: Number(idle),
};
let server;
if (protocol === "http2") {
  server = createSecureServer(tls, answer);
  server.setTimeout(Number(idle));
} else {
  server = createServer({ ...tls, connectionsCheckingInterval: 250 }, answer);
  server.keepAliveTimeout = Number(idle);
  // Above keepAliveTimeout and its second of grace, which they would overtake in old versions.
  server.headersTimeout = server.requestTimeout = Number(idle) + 1500;
  server.timeout = 2000;
  server.maxRequestsPerSocket = 50;
}
server.listen(Number(port), host);
