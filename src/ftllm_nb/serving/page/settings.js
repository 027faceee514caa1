// The settings' form: what a user leaves empty is the model's own. Kept in this browser.

const KEY = "settings";

export class Settings {
  constructor(panel) {
    this.panel = panel;
    this.form = panel.querySelector("form");
    this.numbers = [...this.form.querySelectorAll("input")];
    let kept = {};
    try {
      kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    } catch {
      // Forbidden, or what another version kept.
    }
    for (const field of [this.form.elements.system, ...this.numbers]) field.value = kept[field.name] ?? "";
    const changed = () => {
      this.keep();
      this.showMistake("");
    };
    this.form.addEventListener("input", changed);
    this.form.addEventListener("reset", () => setTimeout(changed)); // the fields are emptied after the event
    this.form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Show the model's own settings where the user gave none. */
  showDefaults(defaults) {
    for (const field of this.numbers) {
      if (defaults[field.name] != null) field.placeholder = shortest(defaults[field.name]);
      else if (field.name === "max_tokens") field.placeholder = "no limit";
    }
  }

  get system() {
    return this.form.elements.system.value;
  }

  /** The fields of a request that the user gave. */
  get given() {
    const given = {};
    for (const field of this.numbers) if (field.value !== "") given[field.name] = field.valueAsNumber;
    return given;
  }

  /** A sentence about the first value that cannot be used, or "". */
  get mistake() {
    const wrong = this.numbers.find((field) => !field.checkValidity());
    if (!wrong) return "";
    const name = wrong.closest("label").firstChild.textContent.trim();
    const kind = wrong.step === "1" ? "a whole number" : "a number";
    return `${name} must be ${kind} from ${wrong.min} to ${wrong.max}.`;
  }

  showMistake(sentence) {
    const shown = this.form.querySelector("#mistake");
    shown.textContent = sentence;
    shown.hidden = !sentence;
  }

  keep() {
    const kept = { system: this.system };
    for (const field of this.numbers) kept[field.name] = field.value;
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // Forbidden: they hold until the page is left.
    }
  }
}

/** 0.8 for 0.800000011920929, which a file of float32 numbers gave. */
function shortest(number) {
  return String(Number(number.toPrecision(6)));
}
