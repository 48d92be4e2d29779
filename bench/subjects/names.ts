/** Names that no run has used: what a run writes or extracts never meets the leavings of another. */
let used = 0;

export function freshName(): string {
  used += 1;
  return `run${used}`;
}
