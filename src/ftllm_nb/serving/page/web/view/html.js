// What all views are made of: Preact's elements in htm's templates.
import { Component, h } from "preact";

export { render } from "preact";
export { useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";
export { html } from "htm/preact";

// A view that is drawn again only when one of its properties is another one.
export function remembered(view, isSame = Object.is) {
  return class extends Component {
    shouldComponentUpdate(next) {
      const names = new Set([...Object.keys(next), ...Object.keys(this.props)]);
      return [...names].some((name) => !isSame(next[name], this.props[name]));
    }

    render(properties) {
      return h(view, properties);
    }
  };
}
