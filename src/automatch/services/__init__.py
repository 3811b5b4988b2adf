"""What people and operators do, without HTTP and without SQL text.

Services take values and bytes, never a request, so that JSON routes, pages, the CSV import and
commands share them. One rule says what belongs here: whoever needs exactly one call of the store
makes it directly, in a transaction opened in the name of the person who asks; as soon as an act
takes two calls, a decision, a file, a key or a clock, it is a function in this package.
"""
