"""What the page in the browser needs beside the API: files, sessions, the system view."""
