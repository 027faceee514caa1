// What the user has set: kept by the browser, the same in all tabs. An empty field means the model's own value.
import { change, state } from "./store.js";

const KEY = "ftllm-nb settings";

// By the API's names. `low` and `high` are the bounds that the API sets.
export const NUMBERS = [
  { name: "temperature", label: "Temperature", info: "0 always takes the likeliest token", low: 0, step: 0.05 },
  { name: "top_p", label: "Top p", info: "likeliest tokens that hold this share", low: 0, high: 1, step: 0.01 },
  { name: "top_k", label: "Top k", info: "likeliest tokens; 0 is no limit", low: 0, whole: true },
  { name: "min_p", label: "Min p", info: "share of the likeliest token's probability", low: 0, high: 1, step: 0.01 },
  { name: "repetition_penalty", label: "Repetition penalty", info: "above 1 discourages repeating", low: 0.01, high: 100, step: 0.01 },
  { name: "max_tokens", label: "Longest answer", info: "in tokens", low: 1, whole: true, none: "no limit" },
  { name: "seed", label: "Seed", info: "the same gives the same answer", low: 0, whole: true, none: "random" },
];

export function loadSettings() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    // What cannot be read is as if nothing had been set.
  }
  change({ settings: kept && typeof kept === "object" ? kept : {} });
}

export function set(name, value) {
  const settings = { ...state.settings, [name]: value };
  if (value === "" || value === undefined) delete settings[name];
  keep(settings);
}

// All but the theme.
export function useDefaults() {
  const { theme } = state.settings;
  keep(theme ? { theme } : {});
}

function keep(settings) {
  change({ settings });
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Then it holds until the tab is closed.
  }
  dispatchEvent(new Event(KEY));
}

addEventListener("storage", (event) => event.key === KEY && loadSettings());

// Why a field's text is no value for it; empty where it is one.
export function complaint({ label, low, high, whole }, text) {
  const value = Number(text);
  if (text === "") return "";
  if (!Number.isFinite(value) || (whole && !Number.isInteger(value))) return `${label} must be a ${whole ? "whole " : ""}number.`;
  if (value < low || value > (high ?? Infinity)) return `${label} must be ${high === undefined ? `${low} or more` : `${low} to ${high}`}.`;
  return "";
}

// The first setting that cannot be sent, as a sentence; empty where all can.
export const firstComplaint = (settings) =>
  NUMBERS.map((number) => complaint(number, settings[number.name] ?? "")).find((sentence) => sentence) ?? "";

// The API's fields for what is set.
export function requestFields(settings, about) {
  const given = NUMBERS.filter(({ name }) => (settings[name] ?? "") !== "");
  const fields = Object.fromEntries(given.map(({ name }) => [name, Number(settings[name])]));
  if (about?.thinking && settings.thinking) fields.enable_thinking = settings.thinking === "on";
  return fields;
}
