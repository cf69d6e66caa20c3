// Uses the types that openapi-typescript generates, with openapi-fetch: submits a task, lists it, and reads a refusal. Prints what it saw as JSON.

import createClient from 'openapi-fetch';
import type { paths } from './schema';

declare const process: { argv: string[] };
declare const console: { log(text: string): void };

const [, , baseUrl = '', key = ''] = process.argv;
const client = createClient<paths>({ baseUrl, headers: { 'X-API-Key': key } });

const made = await client.POST('/api/tasks', { body: { type: 'demo.echo', payload: { hello: 'world' }, priority: 'high' } });
if (made.error) throw new Error(made.error.detail);
const page = await client.GET('/api/tasks', { params: { query: { type: ['demo.echo'], priority: 'high', limit: 10 } } });
if (page.error) throw new Error(page.error.detail);
const refused = await client.POST('/api/tasks', { body: { type: 'demo.ehco' } });
if (!refused.error) throw new Error('it was not refused');
console.log(JSON.stringify({ id: made.data.id, status: made.data.status, listed: page.data.items.map((task) => task.id), refused: refused.error.code }));
