// What every JavaScript client does: run its steps, all of them, and end with status 1 where one failed.
import assert from "node:assert/strict";

export { assert };
export const baseURL = process.env.CLIENT_BASE_URL;
export const model = process.env.CLIENT_MODEL;

export async function run(steps) {
  let failed = 0;
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
      console.log(`${name}: ok`);
    } catch (error) {
      failed += 1;
      console.error(`--- ${name} failed:`, error?.stack ?? error, error?.responseBody ?? "", error?.cause ?? "");
    }
  }
  process.exit(failed ? 1 : 0);
}
