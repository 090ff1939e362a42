// Starts the two binaries under test, as tests/python/harness.py does: the replay upstream, which plays the provider, and
// the gateway in front of it, with one alias per exchange that a test names.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BINARIES = process.env.ZIGGURAT_BIN_DIR ?? join(ROOT, "target/debug");
const EXCHANGES_FILE = join(ROOT, "tests/data/exchanges.json");
const START_MS = 20_000;
const WAIT_MS = 10_000;

export const MASTER_KEY = "sk-test";

/** Runs a server until it is stopped; resolves when it says where it listens. */
async function start(command, ...args) {
  const child = spawn(join(BINARIES, command), args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  const output = [];
  const base = await new Promise((resolve, reject) => {
    const fail = (why) => {
      child.kill();
      reject(new Error(`${command} did not start (${why}):\n${output.join("\n")}`));
    };
    const timer = setTimeout(fail, START_MS, "no word from it");
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code) => fail(`exit code ${code}`));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        output.push(line);
        const found = line.match(/listening on (127\.0\.0\.1:\d+)/);
        if (found) {
          clearTimeout(timer);
          resolve(`http://${found[1]}`);
        }
      });
    }
  });
  const stop = async () => {
    child.removeAllListeners("exit");
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  };
  return { base, stop };
}

/** A replay upstream and a gateway whose aliases are these `exchange[,fault...]`, each with these `litellm_params` too. */
export async function startStack(aliases, settings = []) {
  const exchanges = new Map(JSON.parse(await readFile(EXCHANGES_FILE, "utf8")).map((row) => [row.id, row]));
  const folder = await mkdtemp(join(tmpdir(), "ziggurat-"));
  const upstream = await start("replay-upstream", "--port", "0", "--synthetic", EXCHANGES_FILE);
  const models = aliases.flatMap((alias) => {
    const { provider, model } = exchanges.get(alias.split(",")[0]);
    const base = `${upstream.base}/r/${alias}`;
    return [
      `  - model_name: ${JSON.stringify(alias)}`,
      "    litellm_params:",
      // What fails is told as it is, not tried again.
      "      num_retries: 0",
      `      model: ${provider}/${model}`,
      `      api_base: ${provider === "anthropic" ? base : `${base}/v1`}`,
      "      api_key: sk-provider-secret",
      ...settings.map((setting) => `      ${setting}`),
    ];
  });
  const config = ["model_list:", ...models, "general_settings:", `  master_key: ${MASTER_KEY}`, ""].join("\n");
  await writeFile(join(folder, "config.yaml"), config);
  let gateway;
  const stop = async () => {
    await gateway?.stop();
    await upstream.stop();
    await rm(folder, { recursive: true });
  };
  try {
    gateway = await start("ziggurat", "--config", join(folder, "config.yaml"), "--port", "0");
  } catch (error) {
    await stop();
    throw error;
  }

  /** What the upstream has seen, oldest first. */
  const seen = async () => (await fetch(`${upstream.base}/_exchanges`)).json();
  return { base: gateway.base, seen, stop };
}

/** Asks until there is an answer. */
export async function waitFor(what, message) {
  for (const deadline = Date.now() + WAIT_MS; Date.now() < deadline; await sleep(20)) {
    const value = await what();
    if (value !== undefined) return value;
  }
  throw new Error(message);
}
