// Exchanges the token for a cookie that scripts can't read.

const form = document.getElementById('form');
const field = document.getElementById('token');
const message = document.getElementById('message');

async function logIn(token) {
  message.hidden = true;
  try {
    const response = await fetch('/api/v1/login', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token }),
    });
    if (response.ok) {
      // The token must not stay in the history.
      location.replace('/');
      return;
    }
    const problem = await response.json().catch(() => ({}));
    fail(response.status === 401 ? 'This token is wrong.' : (problem.detail ?? `The server answered ${response.status}.`));
  } catch {
    fail('The server can’t be reached. Is Rigline running?');
  }
}

function fail(text) {
  message.textContent = text;
  message.hidden = false;
  field.focus();
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  logIn(field.value.trim());
});

let given = '';
try {
  given = decodeURIComponent(location.hash.slice(1));
} catch {
  fail('The address holds no token that can be read.');
}
if (given !== '') {
  history.replaceState(null, '', '/login');
  logIn(given);
}
