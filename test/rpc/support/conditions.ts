/** Waits for conditions about what has arrived, and looks at them only when something has changed. */
export class Conditions {
  #waiters: { condition: () => boolean; resolve: () => void }[] = [];

  /** Resolves when `condition` holds. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ condition, resolve }));
  }

  /** Looks at every condition again. */
  changed(): void {
    this.#waiters = this.#waiters.filter(({ condition, resolve }) => {
      if (!condition()) return true;
      resolve();
      return false;
    });
  }
}
