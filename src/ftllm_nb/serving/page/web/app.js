// Begins everything.
import { startWatching } from "./state/about.js";
import { startConversations } from "./state/conversations.js";
import { loadSettings } from "./state/settings.js";
import { App } from "./view/app_view.js";
import { askKey } from "./view/dialogs.js";
import { html, render } from "./view/html.js";

loadSettings();
await startConversations();
render(html`<${App} />`, document.getElementById("app"));
startWatching(askKey);
