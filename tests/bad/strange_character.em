model M
let a = 3 § 4
