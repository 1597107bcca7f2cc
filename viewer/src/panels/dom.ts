// Elements of the page, in one line each.

type Child = Node | string;

/** Make an element with properties and children. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K, properties: Partial<Omit<HTMLElementTagNameMap[K], "style">> & { readonly className?: string } = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Replace the children of a panel; the control that has the focus keeps it in its new form. */
export function refill(panel: HTMLElement, ...children: Child[]): void {
  const controls = (): Element[] => [...panel.querySelectorAll("input, select, button, summary")];
  const focused = controls().findIndex((one) => one === document.activeElement);
  panel.replaceChildren(...children);
  const next = controls()[focused];
  if (next instanceof HTMLElement) next.focus({ preventScroll: true });
}

/** Return the element of the page with this id. */
export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`the page has no ${kind.name} #${id}`);
}

/** Make a control with its label. */
export function labelled(label: string, control: HTMLElement): HTMLLabelElement {
  return element("label", {}, element("span", {}, label), control);
}

/** Make a list to choose from; `onChoose` gets the value. */
export function select(
  label: string, options: readonly (readonly [value: string, text: string])[], value: string, onChoose: (value: string) => void,
): HTMLLabelElement {
  const list = element("select", {}, ...options.map(([one, text]) => element("option", { value: one }, text)));
  list.value = value;
  list.onchange = (): void => {
    onChoose(list.value);
  };
  return labelled(label, list);
}

/** Make a field for a number that may be empty; `onChange` gets null for that. */
export function numberField(label: string, value: number | null, onChange: (value: number | null) => void): HTMLLabelElement {
  const input = element("input", { type: "number", step: "any", value: value === null ? "" : `${value}` });
  input.onchange = (): void => {
    onChange(input.value === "" || !Number.isFinite(input.valueAsNumber) ? null : input.valueAsNumber);
  };
  return labelled(label, input);
}

/** Make a button. */
export function button(text: string, onClick: () => void): HTMLButtonElement {
  const made = element("button", { type: "button" }, text);
  made.onclick = onClick;
  return made;
}
