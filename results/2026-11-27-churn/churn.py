"""Messages beside changes: 20,000 a second through one shard, quiet and with the API changing things, in turns.

    python3 churn.py DIRECTORY_OF_THE_BINARIES
"""
import json,os,subprocess,time,urllib.request,threading,signal,sys
import tempfile
B=os.path.abspath(sys.argv[1])+'/ringbeam'; L=B+'-loadgen'
os.chdir(tempfile.mkdtemp())
fleet={"groups":[{"groupId":"g","configuration":{"SoracomBeam":{"mqtt://beam.soracom.io:1883":{"enabled":True,"destination":"mqtt://127.0.0.1:1884","addSubscriberHeader":True,"replaceTopic":True}}}},
 {"groupId":"h","configuration":{"SoracomBeam":{"mqtt://beam.soracom.io:1883":{"enabled":True,"destination":"mqtt://127.0.0.1:1884"}}}}],
 "credentials":[],"sims":[{"simId":"1","imsi":"440100000000001","groupId":"h","ip":"127.9.0.1"}],
 "simRanges":[{"cidr":"127.1.0.0/16","imsiBase":"440100001000000","simIdBase":"8981100000001000000","groupId":"g"}]}
json.dump(fleet,open('fleet.json','w')); open('key','w').write('a'*64)
open('ringbeam.toml','w').write('[[listener]]\naddress="127.0.0.1:19990"\n[engine]\nshards=1\n[registry]\nkind="embedded"\nsecret_key_file="key"\n[control]\naddress="127.0.0.1:19991"\n')
subprocess.run([B,'fleet','import','fleet.json'],check=True)
subprocess.run([B,'user','add','--email','a@b.c'],input=b'password123\n',check=True)
sink=subprocess.Popen(['taskset','-c','1',L,'sink','--listen','127.0.0.1:1884'],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL)
eng=subprocess.Popen(['taskset','-c','0,1',B,'serve'],stderr=open('log','w'),stdout=subprocess.PIPE)
print(eng.stdout.readline())
def req(m,p,b=None,h={}):
    r=urllib.request.Request('http://127.0.0.1:19991'+p,data=None if b is None else json.dumps(b).encode(),method=m,headers={'content-type':'application/json',**h})
    return json.loads(urllib.request.urlopen(r).read() or b'null')
a=req('POST','/v1/auth',{"email":"a@b.c","password":"password123"})
H={'X-Soracom-API-Key':a['apiKey'],'X-Soracom-Token':a['token']}
def cpu():
    t={}
    for d in os.listdir(f'/proc/{eng.pid}/task'):
        n=open(f'/proc/{eng.pid}/task/{d}/comm').read().strip()
        s=open(f'/proc/{eng.pid}/task/{d}/schedstat').read().split()[0]
        t[n]=t.get(n,0)+int(s)
    return t
stop=threading.Event(); count=[0]
def churn():
    i=0
    while not stop.is_set():
        i+=1
        e=dict(fleet["groups"][1]["configuration"]["SoracomBeam"]["mqtt://beam.soracom.io:1883"]); e["addSubscriberHeader"]=bool(i%2)
        req('PUT','/v1/groups/h/configuration/SoracomBeam',[{"key":"mqtt://beam.soracom.io:1883","value":e}],H)
        req('PUT','/ringbeam/v1/sims',{"simId":"1","imsi":"440100000000001","groupId":"h","ip":f"127.9.0.{i%250}"},H)
        req('PUT','/ringbeam/v1/sims/1/session',{"ip":f"127.9.1.{i%250}"},H)
        count[0]+=3
        time.sleep(0.05)
for r in range(4):
    for mode in ('quiet','churn'):
        stop.clear(); count[0]=0
        p=subprocess.Popen(['taskset','-c','1',L,'publish','--target','127.0.0.1:19990','--sims','127.1.0.0/16','--sink','127.0.0.1:1884','--connections','500','--rate','20000','--duration','8s','--warmup','1s','--ramp','500','--json',f'out-{mode}-{r}.json'],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL)
        time.sleep(3.0)
        th=None
        if mode=='churn':
            th=threading.Thread(target=churn); th.start()
        c0=cpu(); time.sleep(5); c1=cpu()
        stop.set()
        if th: th.join()
        p.wait()
        o=json.load(open(f'out-{mode}-{r}.json'))
        d={k:(c1[k]-c0.get(k,0))/1e3/ (20000*5) for k in c1}
        print(mode, 'relay us/msg %.2f shard %.2f'%(d.get('relay-0',0),d.get('shard-0',0)), 'changes/5s',count[0],'lost',o.get('lost'),'dup',o.get('duplicated'),'sent',o.get('sent'),'recv',o.get('received'),'errors',o.get('errors'),'p50/p99',o['latency_us']['p50'],o['latency_us']['p99'],flush=True)
eng.send_signal(signal.SIGINT); eng.wait(); sink.kill()
