// Colours: as the system says, or as the reader chose.

const KEY = 'ringbeam.theme';
export const themes = ['auto', 'light', 'dark'];

export function currentTheme() {
  const kept = localStorage.getItem(KEY);
  return themes.includes(kept) ? kept : 'auto';
}

export function applyTheme() {
  document.documentElement.dataset.theme = currentTheme();
}

export function setTheme(next) {
  localStorage.setItem(KEY, next);
  applyTheme();
}
