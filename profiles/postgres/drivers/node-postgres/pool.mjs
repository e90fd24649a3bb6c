// node pool.mjs MODULES HOST PORT PAUSE USE: what a pool of node-postgres's does with one connection.
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const [modules, host, port, pause, use] = process.argv.slice(2);
const { Pool } = createRequire(`${modules}/`)("pg");
const uses = { default: {}, "idle-timeout": { idleTimeoutMillis: 1000 } };
const ssl = { rejectUnauthorized: false };
const pool = new Pool({ host, port: Number(port), user: "postgres", database: "postgres", max: 1, ssl, ...uses[use] });
pool.on("error", (error) => console.log(`idle connection: ${error.message}`));

async function query() {
  try {
    await pool.query("select 1");
    console.log("query answered");
  } catch (error) {
    console.log(`query failed: ${error.message}`);
  }
}

await query();
if (Number(pause) > 0) {
  await sleep(Number(pause) * 1000);
  await query();
}
await pool.end();
