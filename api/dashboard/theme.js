// Runs before the page is drawn, so that it never shows in the wrong colours first.
(() => {
  const CHOICES = ['auto', 'light', 'dark'];
  const read = () => {
    try {
      const kept = localStorage.getItem('rigline.theme');
      return CHOICES.includes(kept) ? kept : 'auto';
    } catch {
      return 'auto';
    }
  };
  let choice = read();
  const apply = () => {
    document.documentElement.dataset.theme = choice;
  };
  apply();
  window.riglineTheme = {
    get choice() {
      return choice;
    },
    next() {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      try {
        localStorage.setItem('rigline.theme', choice);
      } catch {
        // Without storage the choice lasts as long as the page.
      }
      apply();
      document.dispatchEvent(new Event('themechange'));
    },
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    document.dispatchEvent(new Event('themechange'));
  });
})();
