// Does with an account what an app does, and prints what came of it, a line of JSON for each step.
import { createClient } from '@supabase/supabase-js'

const { SUPABASE_URL, SUPABASE_ANON_KEY, EMAIL, PASSWORD } = process.env
const supabase = createClient(SUPABASE_URL, SUPABASE_ANON_KEY)
// A device whose clock is two hours behind.
const now = Date.now
Date.now = () => now() - 7_200_000
const account = { email: EMAIL, password: PASSWORD }

const print = (step, { data, error }) =>
  console.log(
    JSON.stringify({
      step,
      user: data?.user?.id ?? null,
      signedIn: Boolean(data?.session),
      livesMs: data?.session ? data.session.expires_at * 1000 - Date.now() : null,
      metadata: data?.user?.user_metadata ?? null,
      error: error ? { code: error.code, message: error.message } : null,
    })
  )

print('sign up', await supabase.auth.signUp({ ...account, options: { data: { theme: 'dark' } } }))
print('sign up again', await supabase.auth.signUp(account))
print('weak', await supabase.auth.signUp({ email: `x${EMAIL}`, password: 'x' }))
print('wrong', await supabase.auth.signInWithPassword({ ...account, password: 'wrong password' }))
print('sign in', await supabase.auth.signInWithPassword(account))
print('user', await supabase.auth.getUser())
print('update', await supabase.auth.updateUser({ data: { theme: 'light' } }))
const { data } = await supabase.auth.refreshSession()
print('refresh', { data })
print('sign out', await supabase.auth.signOut())
print('refresh after', await supabase.auth.refreshSession(data.session))
