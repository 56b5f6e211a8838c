// Runs the checks of a client's script and says which failed and why; as checks.py does.
import assert from "node:assert/strict";

// A statement that takes much longer than any check.
export const LONG = "SELECT count(*) FROM generate_series(1, 1000000) AS a(n), generate_series(1, 1000000) AS b(n)";

export const same = assert.deepStrictEqual;

// The error of this SQLSTATE that a call ends with.
export async function raises(code, call) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.code, code, `SQLSTATE ${error.code}, not ${code}: ${error.message}`);
    return error;
  }
  throw new assert.AssertionError({ message: `no error ${code}` });
}

// A promise with a limit: what hangs, fails.
function within(seconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done in ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Runs functions by their names, those of `atNode` at a node only, and prints `client|version|checks|passed|known` last. A check that
// `known` gives a reason for must fail at a node: it is said and counted apart.
export async function tally(client, version, node, checks, atNode, known) {
  const all = Object.entries(node ? { ...checks, ...atNode } : checks);
  const reasons = node ? known : {};
  let passed = 0;
  let differ = 0;
  for (const [name, check] of all) {
    let failure = null;
    try {
      await within(30, check());
    } catch (error) {
      failure = error;
    }
    if (failure === null && !(name in reasons)) {
      passed += 1;
    } else if (failure === null) {
      console.log(`--- ${name} passes, and is said to differ: ${reasons[name]}`);
    } else if (name in reasons) {
      differ += 1;
      console.log(`known: ${name}: ${reasons[name]}`);
    } else {
      console.log(`--- ${name} failed\n${failure.stack}`);
    }
  }
  const unknown = Object.keys(reasons).filter((name) => !all.some(([found]) => found === name));
  unknown.forEach((name) => console.log(`--- ${name} is said to differ, and there is no such check`));
  console.log(`${client}|${version}|${all.length}|${passed}|${differ}`);
  process.exit(unknown.length === 0 && passed + differ === all.length ? 0 : 1);
}
