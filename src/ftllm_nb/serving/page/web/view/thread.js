// The conversation that is shown. It follows an answer that grows, unless somebody has scrolled up.
import { runOf } from "../state/answers.js";
import { shownPath } from "../state/conversations.js";
import { state } from "../state/store.js";
import { Answer } from "./answer.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { icon } from "./icons.js";
import { Question } from "./question.js";
import { Welcome } from "./welcome.js";

const NEAR = 40; // pixels from the end that still count as the end

export function Thread() {
  const path = shownPath();
  const run = runOf(state.current);
  const frame = useRef(null);
  const follows = useRef({ isOn: true, top: 0, last: null });
  const [isAway, setAway] = useState(false);

  const toEnd = () => {
    follows.current.isOn = true;
    frame.current.scrollTop = frame.current.scrollHeight;
    setAway(false);
  };
  const noteScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = frame.current;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    // Only going up ends it: what grows moves the end away as well.
    if (isAtEnd) follows.current.isOn = true;
    else if (scrollTop < follows.current.top - 1) follows.current.isOn = false;
    follows.current.top = scrollTop;
    setAway(!isAtEnd && !follows.current.isOn);
  };
  const lastQuestion = path.findLast(({ message }) => message.role === "user")?.message.id;
  const place = `${state.current?.id} ${lastQuestion}`;
  useLayoutEffect(() => {
    const isNew = follows.current.last !== place;
    follows.current.last = place;
    if (isNew || follows.current.isOn) toEnd();
  });

  useEffect(() => {
    const watcher = new ResizeObserver(() => follows.current.isOn && toEnd());
    watcher.observe(frame.current);
    watcher.observe(frame.current.firstElementChild);
    return () => watcher.disconnect();
  }, []);

  const begins = Math.max(path.findIndex(({ message }) => message.id === state.current?.from), 0);
  return html`
    <div class="thread" ref=${frame} onScroll=${noteScroll} tabindex="-1">
      <div class="column" role="log" aria-live="polite" aria-busy=${Boolean(run)} aria-label="Conversation">
        ${!path.length && html`<${Welcome} />`}
        ${path.map(({ message, versions, at }, index) => html`
          ${begins > 0 && index === begins && html`<p class="begins" key="begins">The model is not told what stands above.</p>`}
          <${message.role === "user" ? Question : Answer}
            key=${message.id}
            message=${message}
            versions=${versions.join(" ")}
            at=${at}
            isLast=${index === path.length - 1}
            isRunning=${Boolean(run)}
            isMadeHere=${run?.message.id === message.id}
          />
        `)}
      </div>
    </div>
    ${isAway && html`<button type="button" class="to-end" onClick=${toEnd} aria-label="To the end" title="To the end">${icon("down")}</button>`}
  `;
}
