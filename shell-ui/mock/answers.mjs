// How the mock reads and answers.

export class Refusal extends Error {
  constructor(status, code, message, more) {
    super(message);
    this.status = status;
    this.body = { code, message, ...more };
  }
}

export function json(response, status, value, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store", ...headers }).end(JSON.stringify(value));
}

export async function text(request) {
  let all = "";
  for await (const chunk of request) all += chunk;
  return all;
}

export async function document(request) {
  const body = await text(request);
  return body === "" ? {} : JSON.parse(body);
}
