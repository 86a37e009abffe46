// What `vendor/preact.js` is when it is served: htm's module with Preact and its hooks in one file.
export { h, html, render, Component } from "htm/preact";
export * from "preact/hooks";
export { createContext } from "preact";
