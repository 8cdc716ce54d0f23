// Drives the official SDK, unmodified, for tests in another language: JSON lines in on standard input, out on
// standard output. Requests run at the same time; each answer carries its request's id.
//
//   {id, op: "client", client, options}         -> {id, ok: true}
//   {id, op: "call", client, call, args, follow} -> {id, ok: true, value, replies}
//                                                | {id, ok: false, error: {name, statusCode, message}, replies}
//   {id, op: "cancel", stream}                  -> {id, ok: true}
//   {id, op: "methods"}                         -> {id, ok: true, value: {version, methods}}
//
// `call` is like "roomsV2.createRoom"; a null argument counts as absent, {base64} stands for bytes. A stream is
// read to its end and becomes {text}; with `follow` it becomes {stream}, followed by {stream, chunk} … {stream, end: true} without an id.
// `replies` are the raw replies that the SDK got: {method, url, status, headers, body (base64) | null for streams}.
import { AsyncLocalStorage } from "node:async_hooks";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { HathoraCloud } = require("@hathora/cloud-sdk-typescript");
const { SDK_METADATA } = require("@hathora/cloud-sdk-typescript/lib/config.js");
const { HTTPClient } = require("@hathora/cloud-sdk-typescript/lib/http.js");

const clients = new Map();
const streams = new Map();
const recorded = new AsyncLocalStorage();

function say(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

// The SDK's own way to bring an HTTP client: it sees every reply before the SDK does.
async function recordingFetch(input, init) {
  const response = await fetch(input, init);
  const request = input instanceof Request ? input : new Request(input, init);
  const reply = {
    method: request.method,
    url: request.url,
    authorized: request.headers.has("authorization"),
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: null,
  };
  recorded.getStore()?.push(reply);
  if (response.ok && response.headers.get("content-type")?.startsWith("application/octet-stream")) {
    return response;
  }
  const body = new Uint8Array(await response.arrayBuffer());
  reply.body = Buffer.from(body).toString("base64");
  const empty = [101, 204, 205, 304].includes(response.status);
  return new Response(empty ? null : body, {
    status: response.status,
    statusText: response.statusText,
    headers: response.headers,
  });
}

function makeClient({ client, options }) {
  const httpClient = new HTTPClient({ fetcher: recordingFetch });
  clients.set(client, new HathoraCloud({ ...options, httpClient }));
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}

async function follow(id, stream) {
  const reader = stream.getReader();
  streams.set(id, reader);
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      say({ stream: id, chunk: decoder.decode(value, { stream: true }) });
    }
    say({ stream: id, end: true });
  } catch (error) {
    say({ stream: id, end: true, error: String(error) });
  } finally {
    streams.delete(id);
  }
}

// JSON has no bytes: an object of nothing but `base64` stands for them, however deep.
function revived(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(revived);
  const names = Object.keys(value);
  if (names.length === 1 && names[0] === "base64") return new Uint8Array(Buffer.from(value.base64, "base64"));
  return Object.fromEntries(names.map((name) => [name, revived(value[name])]));
}

async function call({ id, client, call, args, follow: live }) {
  const [group, name] = call.split(".");
  const target = clients.get(client)[group];
  const value = await target[name](...args.map((arg) => revived(arg) ?? undefined));
  if (!(value instanceof ReadableStream)) return value ?? null;
  if (!live) return { text: await collect(value) };
  follow(id, value);
  return { stream: id };
}

// Every call that the installed SDK has, as "roomsV2.createRoom": its groups are getters that make their class.
function methods() {
  const client = new HathoraCloud();
  const own = (thing) => Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(thing)));
  const groups = own(client).filter(([, property]) => property.get).map(([name]) => name);
  const calls = groups.flatMap((group) =>
    own(client[group])
      .filter(([name, property]) => name !== "constructor" && typeof property.value === "function")
      .map(([name]) => `${group}.${name}`),
  );
  return { version: SDK_METADATA.sdkVersion, methods: calls };
}

function described(error) {
  const statusCode = error?.statusCode ?? null;
  return { name: error?.constructor?.name ?? "Error", statusCode, message: String(error?.message ?? error) };
}

async function handle(request) {
  const { id, op } = request;
  if (op === "client") {
    makeClient(request);
    return say({ id, ok: true });
  }
  if (op === "cancel") {
    await streams.get(request.stream)?.cancel();
    return say({ id, ok: true });
  }
  if (op === "methods") return say({ id, ok: true, value: methods() });
  const replies = [];
  try {
    const value = await recorded.run(replies, () => call(request));
    return say({ id, ok: true, value, replies });
  } catch (error) {
    return say({ id, ok: false, error: described(error), replies });
  }
}

createInterface({ input: process.stdin })
  .on("line", (line) => handle(JSON.parse(line)))
  .on("close", () => process.exit(0));
