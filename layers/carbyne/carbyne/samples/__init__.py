"""Pure algebra of samples: columns, blocks, rows, rollups, deletes, when a window is due."""
