// Sends a package or a backup and tells how far it is. By XMLHttpRequest, because `fetch` does not tell progress of what it sends.

import { MARK } from "./client.ts";
import { Problem, problemFrom } from "./problem.ts";

export interface Sending<T> {
  /** Names this upload in the server's progress events. */
  id: string;
  result: Promise<T>;
  cancel(): void;
}

/** Starts sending; `progress` hears how many bytes have left. */
export function send<T>(to: "/packages" | "/backups", file: Blob, progress: (sent: number) => void): Sending<T> {
  const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const request = new XMLHttpRequest();
  const result = new Promise<T>((resolve, reject) => {
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onerror = () => reject(new Problem("offline"));
    request.onabort = () => reject(new Problem("cancelled"));
    request.onload = () => {
      if (request.status !== 201) return reject(problemFrom(request.status, request.responseText));
      try {
        resolve(JSON.parse(request.responseText) as T);
      } catch {
        reject(new Problem("garbled"));
      }
    };
    request.open("POST", `/api${to}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("X-Upload-Id", id);
    for (const [name, value] of Object.entries(MARK)) request.setRequestHeader(name, value);
    request.send(file);
  });
  return { id, result, cancel: () => request.abort() };
}
