"""What a person types: commands, options, tables, the end card. Nothing heavy is imported before a command needs it."""
