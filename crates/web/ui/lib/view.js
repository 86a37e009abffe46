// Everything a page needs to draw: Preact, its hooks, and templates.
export {
  html,
  render,
  createContext,
  Component,
  useState,
  useEffect,
  useLayoutEffect,
  useRef,
  useMemo,
  useCallback,
  useContext,
} from "../vendor/preact.js";
