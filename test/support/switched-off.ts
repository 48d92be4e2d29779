/** Mount options that switch off what saves round trips by being ahead of programs, or behind them. */
export const SWITCHED_OFF: readonly string[] = [
  'noattrbehind',
  'noearlyread',
  'nodirectcreate',
  'nowalkahead',
];
