import { notice, start } from "./app";

const missing = [
  ["WebGL2", () => document.createElement("canvas").getContext("webgl2") !== null],
  ["Float16Array", () => "Float16Array" in globalThis],
] as const;

const absent = missing.filter(([, has]) => !has()).map(([name]) => name);
if (absent.length > 0) {
  notice(`This browser has no ${absent.join(" and no ")}. Use Chrome or Edge 135, Firefox 129 or Safari 18.2, or newer, with hardware acceleration on.`);
} else {
  void start();
}
