// Light or dark: the device's, until the user chooses.

const KEY = "theme";

/** Make a button switch between light and dark. */
export function themeButton(button) {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  try {
    root.dataset.theme = localStorage.getItem(KEY) ?? "";
  } catch {
    // Forbidden: the device decides.
  }
  button.addEventListener("click", () => {
    const isDark = (root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
    root.dataset.theme = isDark ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      // Forbidden: it holds until the page is left.
    }
  });
}
