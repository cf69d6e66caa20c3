// How fast one BullMQ process runs waiting no-op jobs. `node bullmq_drain.mjs PORT JOBS CONCURRENCY`; prints jobs/s.
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const [port, jobs, concurrency] = process.argv.slice(2).map(Number);
const connection = () => new Redis({ host: "127.0.0.1", port, maxRetriesPerRequest: null });
const payload = { to: "user@example.com", subject: "hello", body: "x".repeat(200) };
const queue = new Queue("echo", { connection: connection() });
for (let first = 0; first < jobs; first += 500) {
  const count = Math.min(500, jobs - first);
  await queue.addBulk(Array.from({ length: count }, () => ({ name: "echo", data: payload, opts: { removeOnComplete: { age: 3600 } } })));
}
let began = 0;
let done = 0;
const worker = new Worker("echo", async () => { began ||= performance.now(); }, { connection: connection(), concurrency });
await new Promise((resolve) => worker.on("completed", () => { if (++done === jobs) resolve(); }));
console.log(Math.round(jobs / ((performance.now() - began) / 1000)));
await worker.close();
await queue.close();
process.exit(0);
