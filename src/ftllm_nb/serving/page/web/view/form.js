// A form that is never sent. Chromium asks its maker what the fields of a page could be filled with, but not of forms
// that search.
import { html } from "./html.js";

export function Form({ onSubmit = () => {}, ...rest }) {
  const submit = (event) => {
    event.preventDefault();
    onSubmit();
  };
  return html`<form action="/search" autocomplete="off" onSubmit=${submit} ...${rest}></form>`;
}
