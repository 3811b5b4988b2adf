"""Pages of accounts: the first page, signing up and in, links of mails, settings of both."""
