// Standard views, with z up and x along the flow, as in the public datasets.

import { Vector3 } from "three";

export interface StandardView {
  readonly name: string;
  /** From the middle of the points to the camera. */
  readonly direction: Vector3;
  readonly up: Vector3;
}

const UP = new Vector3(0, 0, 1);

export const STANDARD_VIEWS: readonly StandardView[] = [
  { name: "Corner", direction: new Vector3(-1, -1, 0.6), up: UP },
  { name: "Front", direction: new Vector3(-1, 0, 0), up: UP },
  { name: "Back", direction: new Vector3(1, 0, 0), up: UP },
  { name: "Left", direction: new Vector3(0, -1, 0), up: UP },
  { name: "Right", direction: new Vector3(0, 1, 0), up: UP },
  { name: "Top", direction: new Vector3(0, 0, 1), up: new Vector3(1, 0, 0) },
  { name: "Bottom", direction: new Vector3(0, 0, -1), up: new Vector3(1, 0, 0) },
];
