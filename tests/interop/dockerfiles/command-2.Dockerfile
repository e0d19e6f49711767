FROM everything

CMD one  "two"
