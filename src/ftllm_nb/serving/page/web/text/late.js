// Large libraries that only some answers need: loaded when the first one does, after which it is drawn again.

function late(load) {
  let found = null;
  let loading = null;
  return (then) => {
    if (found === null) {
      loading ??= load().then(
        (library) => (found = library),
        () => (found = undefined), // then formulas and code stay as they were written
      );
      loading.then(then);
    }
    return found ?? null;
  };
}

// Each returns the library, or null, and calls `then` when it is there.
export const highlighter = late(() => import("../vendor/highlight.min.js").then((module) => module.default));
export const katex = late(() => import("../vendor/katex.min.js").then(() => globalThis.katex));
