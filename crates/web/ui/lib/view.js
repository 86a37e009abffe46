// Everything a page needs to draw: Preact, its hooks, and templates.
import { h } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export { Component, createContext, render } from "../vendor/preact.js";
export { useCallback, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/hooks.js";

/** A template as what it draws. */
export const html = htm.bind(h);
