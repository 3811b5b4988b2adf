// Comes in and back by mailed links as an app does. Prints what came of each step, a line of JSON, and reads the token
// of a mail, a line, where it needs one; before it asks for a mail again it reads a line too.
import { createInterface } from 'node:readline'
import { createClient } from '@supabase/supabase-js'

const { SUPABASE_URL, SUPABASE_ANON_KEY, EMAIL, PASSWORD } = process.env
const { auth } = createClient(SUPABASE_URL, SUPABASE_ANON_KEY)
const tokens = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

const print = (step, { data, error }) =>
  console.log(
    JSON.stringify({
      step,
      email: data?.user?.email ?? null,
      identities: data?.user?.identities?.length ?? null,
      confirmed: Boolean(data?.user?.email_confirmed_at),
      signedIn: Boolean(data?.session),
      error: error?.code ?? null,
    })
  )

const verify = async (step, type) => {
  const { value: token_hash } = await tokens.next()
  print(step, await auth.verifyOtp({ token_hash, type }))
}

print('sign up', await auth.signUp({ email: EMAIL, password: PASSWORD }))
print('too early', await auth.signInWithPassword({ email: EMAIL, password: PASSWORD }))
await tokens.next()
print('resend', await auth.resend({ type: 'signup', email: EMAIL }))
await verify('confirm', 'signup')
print('sign in', await auth.signInWithPassword({ email: EMAIL, password: PASSWORD }))
print('sign up again', await auth.signUp({ email: EMAIL, password: PASSWORD }))
print('forget', await auth.resetPasswordForEmail(EMAIL))
await verify('recover', 'recovery')
print('new password', await auth.updateUser({ password: `new ${PASSWORD}` }))
print('ask', await auth.signInWithOtp({ email: EMAIL }))
await verify('by link', 'email')
print('change', await auth.updateUser({ email: `new.${EMAIL}` }))
await tokens.next()
print('resend change', await auth.resend({ type: 'email_change', email: EMAIL }))
await verify('one address', 'email_change')
await verify('both addresses', 'email_change')
await verify('used', 'email_change')
process.exit(0)
