/** An error that has the name of its class, also for classes that derive from it: logs then say which one it was. */
export class NamedError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}
