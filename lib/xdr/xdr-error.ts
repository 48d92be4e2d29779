/** The one error of the XDR layer. */

/** The bytes are not what the protocol allows at this place: too short, too long, or outside an enum's range. */
export class XdrError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'XdrError';
  }
}
