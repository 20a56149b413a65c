"""The addresses of the server, one file for each group; `opened` says which of them there are."""
