// The theme before anything is drawn, so that a dark page does not flash white. "auto" follows the device.
(() => {
  const device = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return JSON.parse(localStorage.getItem("ftllm-nb settings") ?? "{}").theme ?? "auto";
    } catch {
      return "auto";
    }
  };
  const apply = () => {
    const theme = chosen();
    document.documentElement.dataset.theme = theme === "auto" ? (device.matches ? "dark" : "light") : theme;
  };
  apply();
  device.addEventListener("change", apply);
  addEventListener("storage", apply);
  addEventListener("ftllm-nb settings", apply);
})();
