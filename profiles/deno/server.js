// deno run server.js HOST PORT CERT KEY
const [hostname, port, cert, key] = Deno.args;
const large = "x".repeat(1 << 20);

Deno.serve(
  {
    hostname,
    port: Number(port),
    cert: Deno.readTextFileSync(cert),
    key: Deno.readTextFileSync(key),
    onListen: () => console.log("ready"),
  },
  (request) =>
    new Response(new URL(request.url).pathname === "/large" ? large : "hello from Deno\n"),
);
