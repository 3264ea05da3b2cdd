"""One file per subcommand; the file, its function and the subcommand share one name."""
