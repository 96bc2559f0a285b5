"""The log joint: from the language's tensor expressions to terms, in coordinates where the numbers are small."""
